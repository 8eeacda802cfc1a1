"""The teaching lab: pages with sliders, on this machine, whose estimates are computed anew with every move.

A page (:mod:`workbench.lab.page`) is controls, and a function from their values to pictures, tables and sentences. The
server (:mod:`workbench.lab.server`) keeps nothing between two requests but uploaded tables and running jobs: the whole
state of a page stands in its address, so that a lecturer can send it, and no two users disturb each other. What a
browser gets is HTML and SVG (:mod:`workbench.lab.drawing`) with native controls, which the keyboard and screen readers
know how to use; a script of one screen sends the controls' values and puts the answer in its place.
"""

"""The commands of ``workbench``: each a file with its help, its arguments and what it does with them."""

"""Commands of ``workbench`` that are more than one call: each a file with its arguments and what it does with them."""

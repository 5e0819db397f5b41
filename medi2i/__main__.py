"""`python -m medi2i`."""

from medi2i.cli import main

main()

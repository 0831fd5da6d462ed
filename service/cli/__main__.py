"""`python -m service.cli` is `equimol`."""

from service.cli import main

main()

"""`python -m ovrl`."""

from ovrl.cli.main import main

main()

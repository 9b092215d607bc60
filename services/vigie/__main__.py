"""Entry point of the command `vigie` and of `python -m vigie`."""


def main() -> None:
    """Run the command line."""
    from vigie.cli.main import app

    app()


if __name__ == "__main__":
    main()

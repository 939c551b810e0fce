"""The process of the dashboard: the pages are imported before Streamlit listens."""

from importlib import import_module

APP = "ldtm_dashboard.app"


def main() -> None:
    """Import the pages and run Streamlit with the arguments of this process."""
    import_module(APP)
    from streamlit.web.cli import main as streamlit

    streamlit(prog_name="streamlit")


if __name__ == "__main__":
    main()

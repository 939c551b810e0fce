"""Draw the pages that are named, in a process of its own, and say whether torch was imported."""

import sys

from streamlit.testing.v1 import AppTest


def script(page: str) -> None:
    from importlib import import_module

    import_module("ldtm_dashboard.app")
    import_module(f"ldtm_dashboard.screens.{page}").page()


def main() -> None:
    for page in sys.argv[1:]:
        test = AppTest.from_function(script, default_timeout=60, kwargs={"page": page}).run()
        assert not test.exception, test.exception
    print(len(sys.argv) - 1, "pages, torch:", "torch" in sys.modules)


if __name__ == "__main__":
    main()

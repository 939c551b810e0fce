"""The registry's fixtures, for the checks that judge its networks."""

from tests.integration.registry.registry_fixtures import bars, registry, small_settings, windows

__all__ = ["bars", "registry", "small_settings", "windows"]

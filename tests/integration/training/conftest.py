"""The registry's fixtures, for trainings whose results it records."""

from tests.integration.registry.registry_fixtures import bars, registry, small_settings, windows

__all__ = ["bars", "registry", "small_settings", "windows"]

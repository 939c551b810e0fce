"""Fixtures of the registry's tests."""

from tests.integration.registry.registry_fixtures import bars, registry, small_settings, windows

__all__ = ["bars", "registry", "small_settings", "windows"]

"""Build the configuration service alone, from concrete adapters."""

from fauxchange.services.configuration.app.files import ConfigurationFile, read_configuration_file
from fauxchange.services.configuration.app.wiring import Configuration

__all__ = ["Configuration", "ConfigurationFile", "read_configuration_file"]

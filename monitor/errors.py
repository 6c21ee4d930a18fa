"""Every error a user can meet, with the exit code it ends the program with.

The tree:

    SensorMonitorError          70  an internal fault
      ConfigError               78  the configuration is wrong
      InputError                65  the data given is wrong
        NoInput                 66  the data given is not there
      BrokerUnavailable         69  the broker cannot be reached, or refuses us for good
      PartMissing               69  an optional part is configured and not installed
      CannotWrite               73  a file or folder cannot be written
      CannotListen              74  the HTTP address cannot be had
      TakenOver                 75  another instance has taken our place at the broker

A message is one text for a person: the file or place, the value found, the value wanted. Errors of
a bundle are `models.bundle.BundleError`; the command line ends with 65 for them.
"""

from typing import ClassVar


class SensorMonitorError(Exception):
    """An error with a message for the user."""

    exit_code: ClassVar[int] = 70


class ConfigError(SensorMonitorError):
    """The configuration is wrong; one line for each problem."""

    exit_code = 78


class InputError(SensorMonitorError):
    """The data given is wrong."""

    exit_code = 65


class NoInput(InputError):
    """The data given is not there."""

    exit_code = 66


class BrokerUnavailable(SensorMonitorError):
    """The broker cannot be reached, or refuses us for good."""

    exit_code = 69


class PartMissing(SensorMonitorError):
    """An optional part is configured and not installed."""

    exit_code = 69


class CannotWrite(SensorMonitorError):
    """A file or folder cannot be written."""

    exit_code = 73


class CannotListen(SensorMonitorError):
    """The HTTP address cannot be had: in use, not ours, or not allowed.

    Not a ConfigError: a used port is often the previous process on its way out, so a service
    manager should try again.
    """

    exit_code = 74


class TakenOver(SensorMonitorError):
    """Another instance has connected with our client id."""

    exit_code = 75

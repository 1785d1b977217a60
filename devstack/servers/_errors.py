"""Says why the development stack could not do what was asked."""


class DevStackError(Exception):
    """The base of this package's errors; its text is meant for the person at the terminal."""


class ServerFailedError(DevStackError):
    """A server did not start, or ended by itself; the text ends with the server's own log."""


class NotInstalledError(DevStackError):
    """A server is missing and may not be installed from here; the text names the command to run."""

"""What each verb is asked: nothing heavy is imported here, as the command line reads it for ``--help``."""

"""The command line: verbs that load what they need when they run."""

import os
import sys
import traceback

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Run ``regard`` and return its exit code: 0 done, 1 our failure, 2 the user's mistake, 3 some cases failed, 130."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    arguments = sys.argv[1:] if argv is None else argv
    code = _run(arguments)
    if argv is None:
        sys.exit(code)
    return code


def _run(arguments: list[str]) -> int:
    import logging

    from regard.cli.app import app, usage_error
    from regard.core.errors import RegardError

    logging.basicConfig(format="regard: %(message)s", level=logging.WARNING, stream=sys.stderr, force=True)
    verbose = any(a in ("-v", "--verbose") for a in arguments)
    try:
        code = app(arguments, standalone_mode=False)
    except KeyboardInterrupt:
        return _said("interrupted; the same command goes on where it stopped", 130)
    except RegardError as error:
        if verbose:
            traceback.print_exc()
        return _said(str(error), error.exit_code)
    except Exception as error:
        said = usage_error(error)
        if said is not None:
            return _said(*said)
        if verbose:
            traceback.print_exc()
        return _said(f"{type(error).__name__}: {error}; expected no such failure; run again with -v and report it", 1)
    return code if isinstance(code, int) else 0


def _said(message: str, code: int) -> int:
    sys.stderr.write("regard: " + " ".join(message.split()) + "\n")
    return code

"""The command line: verbs that load what they need when they run."""

import os
import sys
import traceback

__all__ = ["main"]

_INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Run ``regard`` and return its exit code.

    0: done; 1: our failure; 2: the user's mistake; 3: some cases failed; 130: interrupted, the same command goes on.
    """
    os.environ.setdefault("MPLBACKEND", "Agg")
    arguments = sys.argv[1:] if argv is None else argv
    try:
        code = _run(arguments)
    except KeyboardInterrupt:
        code = _interrupted()
    if argv is None:
        sys.exit(code)
    return code


def _run(arguments: list[str]) -> int:
    import logging

    from regard.cli.app import app, interrupted, plain_arguments, usage_error
    from regard.core.errors import RegardError
    from regard.io.atomic import disk_error

    logging.basicConfig(format="regard: %(message)s", level=logging.WARNING, stream=sys.stderr, force=True)
    verbose = any(a in ("-v", "--verbose") for a in arguments)
    try:
        code = app(plain_arguments(arguments), prog_name="regard", standalone_mode=False)
    except RegardError as error:
        if verbose:
            traceback.print_exc()
        return _said(str(error), error.exit_code)
    except Exception as error:
        full = disk_error(error)
        if full is not None:
            return _said(str(full), full.exit_code)
        said = usage_error(error)
        if said is not None:
            return _said(said, 2)
        if interrupted(error):
            return _interrupted()
        if verbose:
            traceback.print_exc()
        failure = f"an unexpected {type(error).__name__} ({error})"
        return _said(f"{failure}; expected none; run again with -v and report it", 1)
    if code == _INTERRUPTED:  # the parser's own word for Ctrl-C
        return _interrupted()
    return code if isinstance(code, int) else 0


def _interrupted() -> int:
    return _said("interrupted; expected to finish; give the same command again, what is done is kept", _INTERRUPTED)


def _said(message: str, code: int) -> int:
    sys.stderr.write("regard: " + " ".join(message.split()) + "\n")
    return code

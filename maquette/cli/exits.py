"""Exit codes of the command line.

A failed command exits with the code of its error (``exit_code`` of the classes in ``maquette.errors``); these are the
ones that no single error stands for.
"""

OK = 0
INTERNAL = 1
USAGE = 2
SETUP = 5
SOME_FAILED = 7
INTERRUPTED = 130
TERMINATED = 143

MEANINGS: dict[int, str] = {
    OK: "done",
    INTERNAL: "an error of the program itself",
    USAGE: "a wrong option or argument",
    3: "a file that is no usable photo or mesh",
    4: "no face, not the face asked for, a face that cannot be reconstructed, or several people mixed",
    SETUP: "this installation lacks something",
    6: "results could not be written",
    SOME_FAILED: "some photos of a batch failed, or a benchmark missed a limit",
    8: "a service failed or does not answer",
    INTERRUPTED: "interrupted (Ctrl-C)",
    TERMINATED: "told to end (SIGTERM)",
}

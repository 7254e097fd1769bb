"""
The Batch API on your own machine, for tests, demonstrations and the first steps.

| module | holds |
|---|---|
| `testing` | `running_emulator`: the emulator in a process of its own, for tests |
| `__main__`, `server` | the command, and its web server |
| `app`, `create`, `uploads`, `synchronous`, `control`, `middleware`, `errors` | `create_app`, and everything HTTP |
| `settings`, `faults` | what it can be told, each with its table |
| `lifecycle` | what happens to a batch next: pure |
| `engine`, `validation`, `execution`, `result_lines`, `upstream` | the work on batches |
| `store`, `records` | what survives a restart |
| `answers/`, `tokens`, `prices` | what is said, and what it costs |

Nothing is imported here: `testing` has to stay light.
"""

"""
The Batch API on your own machine, for tests, demonstrations and first steps.

| module | holds |
|---|---|
| `testing` | `running_emulator`: the emulator in a process of its own, for tests |
| `__main__`, `server` | the command, and its web server |
| `app`, `uploads`, `synchronous`, `control` | `create_app`, and the HTTP routes |
| `middleware`, `errors` | what all routes share: keys, latency, call faults, the journal; error answers |
| `emulator`, `records` | one emulator; its records of files and batches |
| `settings`, `faults` | all settings, and all faults with their table |
| `service_differences`, `result_forms` | lists and result files of services that differ from OpenAI's |
| `batches/` | creation, validation, life cycle, execution and storage of batches |
| `answers/` | answers to requests, made here or by an upstream |

Nothing is imported here: the import of `testing` has to be quick.
"""

"""Long work outside the web server: a queue in the database, one worker, one child process per job.

Pages import `jobs.launch` and `jobs.payloads` only; what needs torch is reached by name in the child.
"""

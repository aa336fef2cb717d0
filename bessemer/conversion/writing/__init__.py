"""Writing a project: its files as text, formatted, merged with what a user changed, and put in place in one
step.

`project` composes every file (`rooms` the Python modules, `papers` and `project_tests` what templates
show), `emission` has them formatted and merges them (`merging`, on the base that `merge_base` records), and
`placing` puts the folder in place. `dependencies` and `hints` say what is installed with it.
"""

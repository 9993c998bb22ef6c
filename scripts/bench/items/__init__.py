"""What is measured, a module an item.

`runs(mode)` are its contenders, in groups of those that are compared; `tables(mode, results)` what came of them.
"""

"""The study with several seeds: what is in its folder, figures with intervals, one table, and a page from the table.

`variants` names the arms, `folder` the files, `runs` reads them; `test_figures` and `gap_figures` turn runs into
rows of `table`; `claim`, `page` and `figures` are written from the table alone; `report` does all of it.
"""

"""Words of the pages, one module per tab; what several tabs say stands in `ui.text`."""

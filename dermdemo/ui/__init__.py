"""The app's pages: the only part of the package that imports gradio, and one that never imports torch.

`layout.build` makes the page, `tabs/` the tabs (layout and wiring), `handlers` the plain functions they
call, `result` and `figures` what is drawn, `text` every word of it.
"""

"""Administration: a page of its own at `/administration`, and who may see it; plain routes, nothing of Gradio.

Every handler takes the administrator it acts for (`access.Reader`, `access.Actor`), so each is authorised by itself.
"""

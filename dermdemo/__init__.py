"""dermdemo: VAE versus ImageNet pretraining on dermoscopy, as a package and an app.

Research use only. Nothing here is a diagnosis.
"""

__version__ = "0.1.0"
RESEARCH_NOTICE = "Research use only. Not a medical device, never a diagnosis."

"""From one image to one `Analysis`: both classifiers, the VAE, the atlas; the same for every front end.

`analyser` is the entry; `serving` holds what is loaded, `forward` the single pass over it, and one module
each makes predictions, attributions, reconstruction, place in the latent space and novelty of it. `embed`
builds the atlas and is the only one that needs umap-learn. No tensor leaves this package.
"""

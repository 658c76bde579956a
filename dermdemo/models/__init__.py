"""Encoder, decoder, VAE and classifier, and the checkpoints they live in."""

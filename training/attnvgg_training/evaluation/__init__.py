"""Evidence about a trained network: how often it is right, where it looks, how sure that is."""

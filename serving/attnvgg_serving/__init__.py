"""The gateway: label and attention maps from one batched forward pass, over HTTP.

`service` is the process that `bentoml serve` starts, `http` the wire, `gateway` the pipeline of
verbs behind it (decode, batch, run), `engines` what runs a bundle. Nothing here knows torch.
"""

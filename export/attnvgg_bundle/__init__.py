"""The contract between export and everything that runs a bundle.

`manifest` and `limits` need only the standard library, `preprocess` only numpy and Pillow,
`compare` and `golden` only numpy; neither this package nor anything it imports knows torch, ONNX
Runtime or HTTP.
"""

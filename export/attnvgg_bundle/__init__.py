"""The contract between export and everything that runs a bundle.

`manifest` needs only the standard library, `preprocess` only numpy and Pillow; neither this
package nor anything it imports knows torch, ONNX Runtime or HTTP.
"""

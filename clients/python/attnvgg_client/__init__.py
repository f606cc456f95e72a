"""Asks an attnvgg server what a picture shows and where the network looked.

from attnvgg_client import Client

with Client("http://127.0.0.1:3000") as client:
    prediction = client.predict("photo.jpg", return_attention=True)
    prediction.overlay().save("overlay.png")
"""

from attnvgg_client._async_client import AsyncClient
from attnvgg_client._client import Client
from attnvgg_client._door import Health
from attnvgg_client._errors import (
    APIConnectionError,
    APIStatusError,
    AttnVGGError,
    AuthenticationError,
    DeadlineError,
    InvalidArgumentError,
    InvalidPictureError,
    InvalidRequestError,
    ItemError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    PictureRejectedError,
    ProtocolError,
    RateLimitedError,
    ServerDeadlineError,
    ServerError,
    UnavailableError,
)
from attnvgg_client._prediction import Input, Model, Prediction, Score
from attnvgg_client._responses import ModelInfo
from attnvgg_client._version import __version__

__all__ = [
    "APIConnectionError",
    "APIStatusError",
    "AsyncClient",
    "AttnVGGError",
    "AuthenticationError",
    "Client",
    "DeadlineError",
    "Health",
    "Input",
    "InvalidArgumentError",
    "InvalidPictureError",
    "InvalidRequestError",
    "ItemError",
    "Model",
    "ModelInfo",
    "NotFoundError",
    "OverloadedError",
    "PermissionDeniedError",
    "PictureRejectedError",
    "Prediction",
    "ProtocolError",
    "RateLimitedError",
    "Score",
    "ServerDeadlineError",
    "ServerError",
    "UnavailableError",
    "__version__",
]

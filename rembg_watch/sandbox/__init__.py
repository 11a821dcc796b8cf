"""
The Rembg API, emulated on this machine: one object with two faces.

``Sandbox`` validates as documented, cuts out, bills, throttles and misbehaves to order. Its faces are
an in-process httpx transport for tests and a server on loopback for ``demo`` and ``sandbox``. It imports
nothing of ``rembg_watch.api``: emulator and client must not be able to share a mistake.

| module      | holds                                                       |
|-------------|-------------------------------------------------------------|
| ``exchange``  | request and reply as values                               |
| ``sniff``     | signatures and sizes                                      |
| ``rules``     | validation and the error table, to the letter             |
| ``account``   | credits, periods, the limits                              |
| ``faults``    | orders to misbehave                                       |
| ``cutout``    | a picture in, an alpha out                                |
| ``render``    | the cut-out as it was wished for                          |
| ``upload``    | a form body as it arrives                                 |
| ``emulator``  | joins the above                                           |
| ``control``   | the control routes under ``/sandbox/``                    |
| ``openapi``   | the machine-readable description                          |
| ``transport`` | the in-process face                                       |
| ``hosts``     | which ``Host`` is answered                                |
| ``app``, ``server`` | the loopback face                                   |
| ``faces``     | ``Sandbox``: the emulator with its faces, pages and routes |
"""

from rembg_watch.sandbox.faces import Sandbox

__all__ = ["Sandbox"]

"""JPEG XL files, written by libjxl: nothing that the tests need can write them.

The picture of all but the last is that of `pixels` [48, 64]; "odd" is its corner [37, 53].
"""

import base64

import numpy as np

SAMPLES = {
    "rgb": base64.b64decode(
        b"/wrLBgGsAgtUEgCACpVRxg1ezvV8+aHDYtrGdYa22rawhLHZXhgkTIECVagYw0pYA4dGjEaMbYxUKZFRMcZI"
        b"xmDB5kBzAYCinmtTUT724/9OveOaUUvGWgb7WpLWE1tLTZmbSs3r/XP4g0eG8IAHANy4FU3zeBbfMA4ZCy9m"
        b"JCcb2ZdlItx2aWl3EwYYWRg+eBsA6rANcQLHuSbDaV1D8NQ1wHNdt5JEISFOQgCAiEQkAA=="
    ),
    "grey": base64.b64decode(
        b"/wrLQFLcCAH8AQtUEgCACpVRxg1ezvV8+aHDYtrGdYa22rawhLHZXhgkBCIccPEa0dLN///ngtjzPxmiQLkh"
        b"4CcGpJBBMukhCigmAAQxbJgzZAQhUCuAygg6Gr+4ELhOmL1mCABGYsK8PvajDW31dpeI04EutpJEsZH5yRCA"
        b"QAAAAABizBBjhgA="
    ),
    "rgba": base64.b64decode(
        b"/wrLwE4B3AILVBIAgAqVUcYNXs71fPmhw2LaxnWGttq2sISx2Z4LBYOEkgIodvl/VKFiDCthDRwaMRoxtjFS"
        b"pURGxRgjGYMFB0hQAAC8B7I50FwAoKjn2lSUj/34v1PvuGbUkrGWwb6WpPXE1lJT5qZS83r/HP7gkSE84AEA"
        b"N25F0zyexTeMQ8bCixnJyUb2ZZkIt11a2t2EAUYWhg/eBoA6bEOcwHGuyXBa1xA8dQ3wXNetJFFIiJMQACAi"
        b"EQk="
    ),
    "la": base64.b64decode(
        b"/wrLwKa4EQEsAgtUEgCACpVRxg1ezvV8+aHDYtrGdYa22rawhLHZngsFg4QZEO3y/zjg4jWipQeQUADAbAey"
        b"+f//XBB7/idDFCg3BPzEgBQySCY9RAHFBIAghg1zhowgBGoFUBlBR+MXFwLXCbPXDAHASEyY18d+tKGt3u4S"
        b"cTrQxVaSKDYyPxkCEAgAAABAjBlizBA="
    ),
    "container": base64.b64decode(
        b"AAAADEpYTCANCocKAAAAFGZ0eXBqeGwgAAAAAGp4bCAAAAC6anhsY/8KywYBrAILVBIAgAqVUcYNXs71fPmh"
        b"w2LaxnWGttq2sISx2V4YJEyBAlWoGMNKWAOHRoxGjG2MVCmRUTHGSMZgweZAcwGAop5rU1E+9uP/Tr3jmlFL"
        b"xloG+1qS1hNbS02Zm0rN6/1z+INHhvCABwDcuBVN83gW3zAOGQsvZiQnG9mXZSLcdmlpdxMGGFkYPngbAOqw"
        b"DXECx7kmw2ldQ/DUNcBzXbeSRCEhTkIAgIhEJAA="
    ),
    "odd": base64.b64decode(
        b"/wogAWgMABRIACwCIWsVAIAKlVHGDV7O9Xz5ocNi2sZ1hrbatrCEsdleGCRMAKhCtWGMwiF0GNpSjGwk6hIA"
        b"/uUxzYdDft/wFcwvG/gF7650uRmdzw7JDECKN4IYS+CNEnjIBVBK/AxQMIcBNxA4rwfAToBjGMFJB9p7Nuku"
        b"ImVLiOsWHc116wIhua4kMSQ5M8E0TdM0AA=="
    ),
}


def pixels(kind):
    """Return what was encoded, uint8 [H, W, 3]."""
    grey = np.indices((48, 64)).sum(axis=0).astype(np.uint8)
    if kind in ("grey", "la"):
        return np.stack([grey] * 3, axis=-1)
    rgb = np.stack([grey, 255 - grey, grey // 2], axis=-1)
    return rgb[:37, :53] if kind == "odd" else rgb

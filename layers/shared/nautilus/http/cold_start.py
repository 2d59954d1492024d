"""Imported first by each function: it switches the garbage collector off while the function's modules load.

Nearly all that is loaded then stays, and looking for garbage in it takes a tenth of a cold start. `lambda_handler`, the
last statement of each function, switches it on again.
"""

import gc

gc.disable()

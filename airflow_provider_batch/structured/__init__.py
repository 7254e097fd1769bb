"""
Structured outputs: from a response model to the members of the request, the column's type and the validated value.
"""

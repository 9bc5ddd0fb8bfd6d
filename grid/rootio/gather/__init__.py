"""Split trees without knowing what they hold: an entry's bytes are an entry's bytes, whatever its type.

Each basket is read and unpacked once; the entries that go to a stream are gathered, packed and written. A basket that
goes to a stream whole is copied as it is. What a tree says of itself is the input's, with other counts and positions.
RNTuples are cut likewise, page by page; only what counts or chooses among their elements is made anew.
"""

"""
Pictures for people who look at them: where the files of one stand, small views of them, and sheets of a shoot.

For the page and for commands alike. It decodes nothing where it runs (``delivery.decoders``), writes nothing into
the ledger, and knows neither account nor network.

- ``places``: where the files of a picture may stand, and nowhere else.
- ``pictures``: makes views.
- ``choosing``: which shoot somebody means.
- ``contents``: what a sheet of a shoot shows, and in which words.
- ``pairs``: the views of a sheet, a few at once.
- ``tiles``, ``letters``: squares and words on paper.
- ``sheet_html``, ``sheet_pdf``: the sheet itself.
"""

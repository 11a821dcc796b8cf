"""
From a paid answer to a file in its place: spool, verify, publish, and what becomes of the original.

==========================  =============================================================
``delivery.spool``          answers that were paid for and are not yet published
``delivery.masters``        what was bought, kept for further files
``delivery.verify``         is this answer the picture that was asked for?
``delivery.decoders``       the child processes that verify
``delivery.child``          one of them, as whoever asks it sees it
``delivery.lanes``          how many pictures are decoded at once
``delivery.waiting``        what is called while such a child is waited for
``delivery.decoder``        what runs in such a child
``delivery.making``         the question which deliverable to make, in such a child
``delivery.outputs``        which output folders take cut-outs now
``delivery.roots``          is this the folder that the ledger has used, or is it away?
``delivery.places``         where in an output cut-outs go: known before anything is bought
``delivery.publish``        one cut-out, whole, in its mirrored place
``delivery.withdraw``       a cut-out of ours is taken away again
``delivery.earlier``        cut-outs that seem to stand in an output already
``delivery.earlier_files``  the same where several files are made of each picture
``delivery.answer_file``    an answer outside the spool, for ``one_shot``
``delivery.review_copies``  copies of cut-outs that wait for a person, in a folder of theirs
``delivery.thumbnails``     small pictures of originals that are deleted
``delivery.companions``     side files and emptied folders follow a source
``delivery.originals``      the source is kept, moved, deleted or set aside
==========================  =============================================================
"""

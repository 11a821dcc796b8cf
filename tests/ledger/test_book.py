from rembg_watch.ledger import Ledger, work
from rembg_watch.ledger.book import SqlLedger
from tests.ledger.moves import at, finish, one


def test_a_job_that_was_finished_while_somebody_wanted_it_retried_stays_finished(ledger: Ledger) -> None:
    assert isinstance(ledger, SqlLedger)
    done = finish(ledger, one(ledger))
    assert ledger._store.write(lambda connection: work.retry(connection, [done.id], at(1))) == 0
    assert ledger.get(done.id) == done

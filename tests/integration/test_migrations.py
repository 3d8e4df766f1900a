"""Migrations forward, and a version that finds a later one's database: what a rollback needs."""

from contextlib import closing

import pytest

from geodrop import migrations, package
from geodrop.database import connect
from migrate.handler import handle
from tests.integration.conftest import HEADER, Pipeline, csv_rows

LATER = """
create table geodrop.later (id bigint primary key);
grant select on geodrop.later to geodrop_api;
alter table geodrop.ledger add column later text;
insert into geodrop.migration (version, name, checksum) values ('9000', '9000_later', 'x')
"""


@pytest.fixture
def rolled_back(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """A database that a later version has migrated."""
    monkeypatch.setenv("GEODROP_DATABASE_URL", pipeline.url)
    with closing(connect(pipeline.url)) as connection:
        for statement in LATER.split(";\n"):
            connection.run(statement)
    return pipeline


@pytest.mark.parametrize("action", ["migrate", "check"])
def test_a_version_that_was_rolled_back_to_leaves_a_later_database_as_it_is(rolled_back, action, capsys):
    newest = migrations.load(package.migrations())[-1].version
    assert handle({"action": action}, None) == {"applied": [], "current": newest, "ahead": ["9000"]}
    assert '"ahead":["9000"]' in capsys.readouterr().out


def test_it_loads_files_all_the_same(rolled_back):
    assert rolled_back.put("landing/earthquakes-csv/a.csv", HEADER + csv_rows(5)).accepted == 5


def test_a_migration_of_the_same_number_and_another_text_is_refused(rolled_back, tmp_path):
    names = [path.name for path in sorted(package.migrations().glob("*.sql"))]
    for name in names:
        (tmp_path / name).write_text((package.migrations() / name).read_text())
    later = f"{len(names) + 1:04d}"
    (tmp_path / f"{later}_ours.sql").write_text("select 1;\n")
    with closing(connect(rolled_back.url)) as connection:
        connection.run(f"update geodrop.migration set version = '{later}' where version = '9000'")
        with pytest.raises(migrations.MigrationError, match=f"{later}_ours.sql was edited after it was applied"):
            migrations.migrate(connection, migrations.load(tmp_path))

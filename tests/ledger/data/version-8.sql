PRAGMA auto_vacuum=INCREMENTAL;
PRAGMA journal_mode=WAL;
PRAGMA application_id=1380075351;
BEGIN TRANSACTION;
CREATE TABLE balances (
        at BIGINT NOT NULL, included BIGINT NOT NULL, prepaid BIGINT NOT NULL, period_end BIGINT, PRIMARY KEY (at)
    );
INSERT INTO "balances" VALUES(1795348800000000,5000000000,0,1796083199000000);
CREATE TABLE calls (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	job_id BIGINT NOT NULL, 
	folder TEXT NOT NULL, 
	content_key VARCHAR(128) NOT NULL, 
	started_at BIGINT NOT NULL, 
	ended_at BIGINT, 
	charge VARCHAR(8) NOT NULL, 
	credits BIGINT NOT NULL, 
	code TEXT, 
	follows VARCHAR(8) NOT NULL
, recipe VARCHAR(32), sent_bytes BIGINT, status INTEGER, answer_bytes BIGINT, request_id TEXT, words TEXT);
INSERT INTO "calls" VALUES(2,1,'f','key of b''done.jpg''',1795348821000000,1795348830000000,'yes',1000000000,NULL,'no','0123456789abcdef',1000,200,9,'req-1',NULL);
INSERT INTO "calls" VALUES(3,2,'f','key of b''shoot 1/received \xff.jpg''',1795348821000000,1795348830000000,'yes',1000000000,NULL,'no',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "calls" VALUES(4,3,'f','key of b''doubt.jpg''',1795348821000000,1795348841000000,'maybe',1000000000,'no_answer','no',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "calls" VALUES(5,4,'f','key of b''sending.jpg''',1795348821000000,NULL,'maybe',1000000000,NULL,'no',NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE copies (
        sent_key VARCHAR(128) NOT NULL, content_key VARCHAR(128) NOT NULL, sent_at BIGINT NOT NULL,
        PRIMARY KEY (sent_key)
    );
INSERT INTO "copies" VALUES('ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss','kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk',1800000000000000);
CREATE TABLE days (
	day BIGINT NOT NULL, 
	folder TEXT NOT NULL, 
	calls BIGINT NOT NULL, 
	charged BIGINT NOT NULL, 
	doubtful BIGINT NOT NULL, 
	in_doubt BIGINT NOT NULL, 
	refused BIGINT NOT NULL, 
	doubles BIGINT NOT NULL, 
	repeats BIGINT NOT NULL, delivered BIGINT DEFAULT '0' NOT NULL, 
	PRIMARY KEY (day, folder)
);
INSERT INTO "days" VALUES(1795305600000000,'g',1,1000000000,0,0,0,0,0,0);
CREATE TABLE deliverables (
        id INTEGER NOT NULL, job_id BIGINT NOT NULL, name TEXT NOT NULL, recipe_digest VARCHAR(32) NOT NULL,
        state VARCHAR(16) NOT NULL, target BLOB, digest VARCHAR(128), size_bytes BIGINT, reason TEXT, code TEXT,
        made_at BIGINT NOT NULL, PRIMARY KEY (id), UNIQUE (job_id, name)
    );
CREATE TABLE job_counts (
        folder TEXT NOT NULL, state VARCHAR(16) NOT NULL, jobs BIGINT NOT NULL, PRIMARY KEY (folder, state)
    );
INSERT INTO "job_counts" VALUES('f','done',1);
INSERT INTO "job_counts" VALUES('f','failed',1);
INSERT INTO "job_counts" VALUES('f','in_doubt',1);
INSERT INTO "job_counts" VALUES('f','queued',1);
CREATE TABLE jobs (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	folder TEXT NOT NULL, 
	parent BLOB NOT NULL, 
	source BLOB NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	mtime_ns VARCHAR NOT NULL, 
	inode VARCHAR NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	enqueued_at BIGINT NOT NULL, 
	changed_at BIGINT NOT NULL, 
	due_at BIGINT, 
	claimed_by TEXT, 
	attempts INTEGER DEFAULT '0' NOT NULL, 
	doubts INTEGER DEFAULT '0' NOT NULL, 
	retry_at BIGINT, 
	content_key VARCHAR(128), 
	answer_digest VARCHAR(128), 
	answer_bytes BIGINT DEFAULT '0' NOT NULL, 
	target BLOB, 
	charged BIGINT DEFAULT '0' NOT NULL, 
	reason TEXT, 
	code TEXT, 
	field TEXT, 
	request_id TEXT, 
	is_disposal_due BOOLEAN DEFAULT false NOT NULL, 
	is_disposed BOOLEAN DEFAULT false NOT NULL, 
	gone_at BIGINT, 
	revision INTEGER DEFAULT '0' NOT NULL
, finding TEXT, is_accepted BOOLEAN DEFAULT false NOT NULL, made_with VARCHAR(32), redo_at BIGINT, published_digest VARCHAR(128), published_bytes BIGINT, picture_key VARCHAR(128), answer_w INTEGER, answer_h INTEGER, figures TEXT, delivered_at BIGINT);
INSERT INTO "jobs" VALUES(1,'f',X'',X'646F6E652E6A7067',1000,'1000000000000000000','18446744073709551615','done',1795348800000000,1795348840000000,NULL,NULL,0,0,NULL,'key of b''done.jpg''','digest of key of b''done.jpg''',9,X'646F6E652E6A70672E77656270',1000000000,NULL,NULL,NULL,NULL,0,0,NULL,3,NULL,0,NULL,NULL,NULL,NULL,NULL,60,40,'{"is_mask":false,"has_alpha":true,"least":0,"most":255,"coverage":0.25,"softness":0.0,"borders":[0.0,0.0,0.0,0.0],"fragments":1,"loose":0.0,"holes":0,"hollow":0.0}',1795348840000000);
INSERT INTO "jobs" VALUES(2,'f',X'73686F6F742031',X'73686F6F7420312F726563656976656420FF2E6A7067',1001,'1000000000000000001','18446744073709551614','received',1795348801000000,1795348830000000,NULL,'run',0,0,NULL,'key of b''shoot 1/received \xff.jpg''','digest of key of b''shoot 1/received \xff.jpg''',9,X'73686F6F7420312F726563656976656420FF2E6A70672E77656270',1000000000,NULL,NULL,NULL,NULL,0,0,NULL,2,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES(3,'f',X'',X'646F7562742E6A7067',1002,'1000000000000000002','18446744073709551613','in_doubt',1795348802000000,1795348841000000,NULL,NULL,0,1,NULL,'key of b''doubt.jpg''',NULL,0,NULL,1000000000,'no answer','no_answer',NULL,NULL,0,0,NULL,2,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES(4,'f',X'',X'73656E64696E672E6A7067',1003,'1000000000000000003','18446744073709551612','sending',1795348803000000,1795348821000000,NULL,'run',0,0,NULL,'key of b''sending.jpg''',NULL,0,NULL,0,NULL,NULL,NULL,NULL,0,0,NULL,1,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES(5,'f',X'',X'6661696C65642E6A7067',1004,'1000000000000000004','18446744073709551611','failed',1795348804000000,1795348842000000,NULL,NULL,0,0,NULL,NULL,NULL,0,NULL,0,'no picture \udcff','no_picture',NULL,NULL,0,0,NULL,1,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES(6,'f',X'',X'7175657565642E6A7067',1005,'1000000000000000005','18446744073709551610','queued',1795348805000000,1795348805000000,1795348805000000,NULL,0,0,NULL,NULL,NULL,0,NULL,0,NULL,NULL,NULL,NULL,0,0,NULL,0,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE notes (
	name TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "notes" VALUES('gate','{"rate": 4.25}');
CREATE TABLE recipes (digest VARCHAR(32) NOT NULL, options TEXT NOT NULL, PRIMARY KEY (digest));
INSERT INTO "recipes" VALUES('0123456789abcdef','format=webp');
CREATE TABLE reviews (
        id INTEGER NOT NULL, job_id BIGINT NOT NULL, content_key VARCHAR(128) NOT NULL,
        answer_digest VARCHAR(128) NOT NULL, verdict VARCHAR(16) NOT NULL, note TEXT, who TEXT, at BIGINT NOT NULL,
        PRIMARY KEY (id), UNIQUE (content_key, answer_digest)
    );
CREATE TABLE schema_steps (
	version INTEGER NOT NULL, 
	applied_at BIGINT NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "schema_steps" VALUES(1,1795348800000000);
INSERT INTO "schema_steps" VALUES(2,1795812120510972);
INSERT INTO "schema_steps" VALUES(3,1795815852881486);
INSERT INTO "schema_steps" VALUES(4,1795824000000000);
INSERT INTO "schema_steps" VALUES(5,1795827600000000);
INSERT INTO "schema_steps" VALUES(6,1795841864230372);
INSERT INTO "schema_steps" VALUES(7,1795838400000000);
INSERT INTO "schema_steps" VALUES(8,1795851000000000);
CREATE TABLE targets (
	id INTEGER NOT NULL, 
	folder TEXT NOT NULL, 
	"key" BLOB NOT NULL, 
	target BLOB NOT NULL, 
	source BLOB NOT NULL, 
	claimed_at BIGINT NOT NULL, 
	digest VARCHAR(128), 
	size_bytes BIGINT, 
	mtime_ns VARCHAR, 
	inode VARCHAR, 
	PRIMARY KEY (id), 
	UNIQUE (folder, "key")
);
INSERT INTO "targets" VALUES(2,'f',X'646F6E652E6A70672E77656270',X'646F6E652E6A70672E77656270',X'646F6E652E6A7067',1795348830000000,'d',5,'1180591620717411303424','18446744073709551615');
INSERT INTO "targets" VALUES(3,'f',X'73686F6F7420312F726563656976656420FF2E6A70672E77656270',X'73686F6F7420312F726563656976656420FF2E6A70672E77656270',X'73686F6F7420312F726563656976656420FF2E6A7067',1795348830000000,NULL,NULL,NULL,NULL);
CREATE TABLE unsettled (
	folder TEXT NOT NULL, 
	source BLOB NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	since_at BIGINT NOT NULL, 
	reason TEXT NOT NULL, 
	PRIMARY KEY (folder, source)
);
INSERT INTO "unsettled" VALUES('f',X'67726F77696E672E6A7067',5,1795348801000000,'still growing');
CREATE UNIQUE INDEX jobs_by_version ON jobs (folder, source, mtime_ns, inode, size_bytes);
CREATE INDEX jobs_to_dispose_of ON jobs (folder) WHERE is_disposal_due IS 1;
CREATE INDEX jobs_by_state ON jobs (state, folder, changed_at);
CREATE INDEX jobs_in_line ON jobs (state, folder, due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX jobs_by_content ON jobs (content_key) WHERE content_key IS NOT NULL;
CREATE UNIQUE INDEX jobs_that_stand ON jobs (folder, parent, source) WHERE gone_at IS NULL;
CREATE INDEX ix_calls_content_key ON calls (content_key);
CREATE INDEX ix_calls_started_at ON calls (started_at);
CREATE INDEX ix_calls_job_id ON calls (job_id);
CREATE INDEX targets_by_source ON targets (folder, source);
CREATE TRIGGER jobs_leave AFTER UPDATE OF state ON jobs
        WHEN OLD.state <> NEW.state AND OLD.state NOT IN ('sending', 'received')
    BEGIN
        UPDATE job_counts SET jobs = jobs - 1 WHERE folder = OLD.folder AND state = OLD.state;
    END;
CREATE TRIGGER jobs_arrive AFTER UPDATE OF state ON jobs
        WHEN OLD.state <> NEW.state AND NEW.state NOT IN ('sending', 'received')
    BEGIN
        INSERT INTO job_counts VALUES (NEW.folder, NEW.state, 1)
            ON CONFLICT (folder, state) DO UPDATE SET jobs = jobs + 1;
    END;
CREATE TRIGGER jobs_go AFTER DELETE ON jobs WHEN OLD.state NOT IN ('sending', 'received')
    BEGIN
        UPDATE job_counts SET jobs = jobs - 1 WHERE folder = OLD.folder AND state = OLD.state;
    END;
CREATE INDEX copies_by_age ON copies (sent_at);
CREATE INDEX jobs_by_delivery ON jobs (delivered_at) WHERE delivered_at IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('jobs',7);
INSERT INTO "sqlite_sequence" VALUES('calls',5);
COMMIT;

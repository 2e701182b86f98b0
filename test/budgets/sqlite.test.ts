import { join } from 'node:path';
import { after } from 'node:test';
import Database from 'libsql';
import { sqliteBudget } from '../../src/budgets/sqlite.js';
import { budgetChecks } from '../../src/testing/budget-checks.js';
import { testChecks } from '../support/run-checks.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const file = join(await temporaryFolder({ after }), 'budget.db');
testChecks('sqlite', budgetChecks, () => sqliteBudget({ database: new Database(file) }));

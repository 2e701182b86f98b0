import { after } from 'node:test';
import { postgresBudget, postgresBudgetSchema } from '../../src/budgets/postgres.js';
import { budgetChecks } from '../../src/testing/budget-checks.js';
import { startPostgres } from '../support/postgres.js';
import { testChecks } from '../support/run-checks.js';

const server = await startPostgres({ after });
const pool = server.pool({ max: 8 });
await pool.query(postgresBudgetSchema);

testChecks('postgres', budgetChecks, () =>
  postgresBudget({ query: (text, values) => pool.query(text, values) }),
);

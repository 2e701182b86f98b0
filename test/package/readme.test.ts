import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import ts from 'typescript';
import { readDocument, snippetsOf } from '../support/snippets.js';
import { ROOT } from '../support/source-imports.js';

const manifest = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8'));

const DOCUMENTS = [
  'README.md',
  ...readdirSync(`${ROOT}src`, { withFileTypes: true })
    .map(({ name }) => `src/${name}/README.md`)
    .filter((path) => existsSync(ROOT + path)),
];
const CODE = ['ts', 'js'];

/** Compiles files that exist only here, as tests are compiled. A relative import is that of the file before. */
function compile(files: ReadonlyMap<string, string>): string[] {
  const { config } = ts.readConfigFile(`${ROOT}test/tsconfig.json`, ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, `${ROOT}test`);
  const compilerOptions: ts.CompilerOptions = {
    ...options,
    ...{ noUnusedLocals: false, noUnusedParameters: false, moduleDetection: ts.ModuleDetectionKind.Force },
  };
  const host = ts.createCompilerHost(compilerOptions, true);
  const { fileExists, readFile, getSourceFile } = host;
  const names = [...files.keys()];
  host.fileExists = (name) => files.has(name) || fileExists(name);
  host.readFile = (name) => files.get(name) ?? readFile(name);
  host.getSourceFile = (name, version) => {
    const code = files.get(name);
    return code === undefined
      ? getSourceFile.call(host, name, version)
      : ts.createSourceFile(name, code, version, true);
  };
  host.resolveModuleNameLiterals = (literals, importer, redirected, moduleOptions, source) =>
    literals.map((literal) => {
      const before = names[names.indexOf(importer) - 1];
      if (literal.text.startsWith('.') && before !== undefined) {
        return { resolvedModule: { resolvedFileName: before, extension: '.ts' } };
      }
      const mode = ts.getModeForUsageLocation(source, literal, moduleOptions);
      return ts.resolveModuleName(literal.text, importer, moduleOptions, host, undefined, redirected, mode);
    });
  const program = ts.createProgram(names, compilerOptions, host);
  return names
    .flatMap((name) => ts.getPreEmitDiagnostics(program, program.getSourceFile(name)))
    .map(({ file, start = 0, messageText }) => {
      const line = file?.getLineAndCharacterOfPosition(start).line ?? 0;
      return `${file?.fileName.slice(ROOT.length)}+${line + 1}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
    });
}

/** The code of a document, as files beside it. */
function codeOf(document: string): [name: string, code: string][] {
  return snippetsOf(readDocument(document))
    .filter(({ language }) => CODE.includes(language))
    .map(({ line, code }) => [join(ROOT, `${document}:${line}.ts`), code]);
}

test('every snippet of the READMEs compiles against the package', () => {
  const files = new Map(DOCUMENTS.flatMap(codeOf));
  assert.ok(files.size >= 8);
  assert.deepEqual(compile(files), []);
});

test('a snippet that does not compile is named with its line', () => {
  const code = "import { monthly } from 'express-images-router';\nmonthly(50);\n";
  const [fault, ...others] = compile(new Map([[join(ROOT, 'planted:7.ts'), code]]));
  assert.match(fault ?? '', /^planted:7\.ts\+2: Argument of type 'number'/);
  assert.deepEqual(others, []);
});

test('every npm command of the README is one of the package', () => {
  const commands = [...readDocument('README.md').matchAll(/\bnpm (run [\w:-]+|ci|start|test)\b/g)];
  assert.ok(commands.length >= 10);
  for (const [command, verb = ''] of commands) {
    assert.ok(verb === 'ci' || verb.replace('run ', '') in manifest.scripts, command);
  }
});

test('every script of the package is in the README', () => {
  const named = [...readDocument('README.md').matchAll(/`npm (?:run )?([\w:-]+)`/g)].map(([, name]) => name);
  const missing = Object.keys(manifest.scripts).filter((name) => !named.includes(name));
  assert.deepEqual(missing, ['start', 'bundle', 'prepack']);
});

test('the first screen of the README has the two commands, each a line that works by itself', () => {
  const commands = snippetsOf(readDocument('README.md')).filter(({ language }) => language === 'sh');
  assert.deepEqual(
    commands.slice(0, 2).map(({ code }) => code),
    ['npm ci && npm start\n', 'npm ci && npm test\n'],
  );
  assert.ok(commands[1] && commands[1].line < 25);
});

for (const document of [...DOCUMENTS, 'CHANGELOG.md']) {
  test(`every relative link of ${document} leads somewhere`, () => {
    const links = [...readDocument(document).matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map(
      ([, link]) => link ?? '',
    );
    const lost = links.filter((link) => !existsSync(join(ROOT, dirname(document), link)));
    assert.deepEqual(lost, []);
  });
}

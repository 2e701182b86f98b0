import { readdirSync } from 'node:fs';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

/** The root of the repository. */
export const ROOT: string = fileURLToPath(new URL('../../', import.meta.url));

/** One import, re-export, import type or `import()` of a source file. */
export interface SourceImport {
  readonly line: number;
  /** A module of ours as its path below src without extension (`core/image`), else the specifier as written. */
  readonly target: string;
  /** Gone after compilation. */
  readonly typeOnly: boolean;
}

/** What a source file brings in and gives out. */
export interface SourceFile {
  readonly imports: readonly SourceImport[];
  /** Lines of `export *`. */
  readonly exportStars: readonly number[];
  /** Lines of default exports. */
  readonly defaultExports: readonly number[];
  /** Names it exports by re-exporting them, or declares as exported; sorted, types marked by a leading `type `. */
  readonly exportedNames: readonly string[];
}

/** Every TypeScript file of src, as paths below it. */
export function sourceFiles(): string[] {
  return readdirSync(`${ROOT}src`, { recursive: true, encoding: 'utf8' })
    .map((file) => file.replaceAll('\\', '/'))
    .filter((file) => file.endsWith('.ts'))
    .sort();
}

function isTypeOnly(node: ts.Node): boolean {
  if (ts.isImportTypeNode(node)) return true;
  if (ts.isImportDeclaration(node)) {
    const { importClause: clause } = node;
    if (clause === undefined) return false;
    const { namedBindings } = clause;
    const onlyTypes =
      namedBindings !== undefined &&
      ts.isNamedImports(namedBindings) &&
      namedBindings.elements.every((element) => element.isTypeOnly);
    return clause.phaseModifier === ts.SyntaxKind.TypeKeyword || (clause.name === undefined && onlyTypes);
  }
  if (!ts.isExportDeclaration(node)) return false;
  const { exportClause } = node;
  const onlyTypes =
    exportClause !== undefined &&
    ts.isNamedExports(exportClause) &&
    exportClause.elements.every((element) => element.isTypeOnly);
  return node.isTypeOnly || onlyTypes;
}

/** The expression or type that names the module, for every kind of node that loads one. */
function specifierOf(node: ts.Node): ts.Node | undefined {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return node.moduleSpecifier;
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) return node.argument.literal;
  if (ts.isExternalModuleReference(node)) return node.expression;
  const isImportCall = ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword;
  return isImportCall ? node.arguments[0] : undefined;
}

function targetOf(file: string, specifier: string): string {
  if (!specifier.startsWith('.')) return specifier;
  return posix.join(posix.dirname(file), specifier).replace(/\.js$/, '');
}

function hasModifier(node: ts.Node, kind: ts.SyntaxKind): boolean {
  return (
    ts.canHaveModifiers(node) && (ts.getModifiers(node) ?? []).some((modifier) => modifier.kind === kind)
  );
}

function isTypeDeclaration(node: ts.Node): boolean {
  return ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node);
}

function exportedNamesOf(statement: ts.Statement): string[] {
  if (ts.isExportDeclaration(statement)) {
    const { exportClause: clause, isTypeOnly: allTypes } = statement;
    if (clause === undefined || !ts.isNamedExports(clause)) return [];
    return clause.elements.map(
      ({ isTypeOnly: oneType, name }) => `${allTypes || oneType ? 'type ' : ''}${name.text}`,
    );
  }
  if (!hasModifier(statement, ts.SyntaxKind.ExportKeyword)) return [];
  if (ts.isVariableStatement(statement)) {
    return statement.declarationList.declarations.map(({ name }) => name.getText());
  }
  const name = ts.getNameOfDeclaration(statement as ts.DeclarationStatement)?.getText();
  return name === undefined ? [] : [`${isTypeDeclaration(statement) ? 'type ' : ''}${name}`];
}

/** Reads the text of `file` (its path below src). */
export function readSource(file: string, text: string): SourceFile {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const lineOf = (node: ts.Node) => source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1;
  const imports: SourceImport[] = [];
  const visit = (node: ts.Node): void => {
    const specifier = specifierOf(node);
    if (specifier !== undefined && ts.isStringLiteralLike(specifier)) {
      imports.push({
        line: lineOf(node),
        target: targetOf(file, specifier.text),
        typeOnly: isTypeOnly(node),
      });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  const isStar = (node: ts.Statement) =>
    ts.isExportDeclaration(node) &&
    (node.exportClause === undefined || ts.isNamespaceExport(node.exportClause));
  const isDefault = (node: ts.Statement) =>
    ts.isExportAssignment(node) || hasModifier(node, ts.SyntaxKind.DefaultKeyword);
  return {
    imports,
    exportStars: source.statements.filter(isStar).map(lineOf),
    defaultExports: source.statements.filter(isDefault).map(lineOf),
    exportedNames: source.statements.flatMap(exportedNamesOf).sort(),
  };
}

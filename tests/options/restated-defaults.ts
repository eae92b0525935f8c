/** Finds, in source text, defaults of options that a schema owns: `x ?? 3`, `{ x = 3 }`, `(x = 3)` and `@default 3`. */
import ts from 'typescript';

/** A default that stands in the source. */
export interface RestatedDefault {
  /** `options.numSteps ?? 1000`. */
  readonly text: string;
  readonly line: number;
}

/** A number, text or truth value, or a list or object of them. */
function isLiteral(node: ts.Node): boolean {
  if (ts.isPrefixUnaryExpression(node)) return isLiteral(node.operand);
  if (ts.isArrayLiteralExpression(node)) return node.elements.length > 0 && node.elements.every(isLiteral);
  if (ts.isObjectLiteralExpression(node))
    return (
      node.properties.length > 0 &&
      node.properties.every((property) => ts.isPropertyAssignment(property) && isLiteral(property.initializer))
    );
  return (
    ts.isNumericLiteral(node) ||
    ts.isStringLiteral(node) ||
    node.kind === ts.SyntaxKind.TrueKeyword ||
    node.kind === ts.SyntaxKind.FalseKeyword
  );
}

/** The name that an expression or binding ends in. */
function nameOf(node: ts.Node | undefined): string | undefined {
  if (!node) return undefined;
  if (ts.isIdentifier(node) || ts.isStringLiteral(node)) return node.text;
  if (ts.isPropertyAccessExpression(node)) return node.name.text;
  if (ts.isElementAccessExpression(node)) return nameOf(node.argumentExpression);
  // `a ?? b ?? 1`
  if (ts.isBinaryExpression(node)) return nameOf(node.right);
  return undefined;
}

/** The name whose default a node states, if it states one. */
function statedName(node: ts.Node): string | undefined {
  if (ts.isBinaryExpression(node) && isLiteral(node.right)) {
    const kind = node.operatorToken.kind;
    if (kind === ts.SyntaxKind.QuestionQuestionToken || kind === ts.SyntaxKind.BarBarToken) return nameOf(node.left);
  }
  const isBinding = ts.isBindingElement(node) || ts.isParameter(node);
  if (isBinding && node.initializer && isLiteral(node.initializer))
    return nameOf((ts.isBindingElement(node) ? node.propertyName : undefined) ?? node.name);
  if (ts.isPropertySignature(node)) {
    const comment = ts
      .getJSDocTags(node)
      .find(({ tagName }) => tagName.text === 'default')
      ?.comment?.toString();
    if (comment !== undefined && /^(-?\d|'|"|true\b|false\b|\[)/.test(comment)) return nameOf(node.name);
  }
  return undefined;
}

/**
 * Defaults of the named options in a source file.
 *
 * @param owned - names of options that have a schema.
 */
export function restatedDefaults(source: string, owned: ReadonlySet<string>): RestatedDefault[] {
  const file = ts.createSourceFile('source.ts', source, ts.ScriptTarget.Latest, true);
  const found: RestatedDefault[] = [];
  const visit = (node: ts.Node): void => {
    const name = statedName(node);
    if (name !== undefined && owned.has(name))
      found.push({
        text: node.getText(file),
        line: file.getLineAndCharacterOfPosition(node.getStart(file)).line + 1,
      });
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

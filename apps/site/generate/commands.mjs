/** The reference of the command line, from the program's own definition, so that it cannot say anything else. */
import { allKeyPaths, buildProgram, configSchema, everyCommand } from '@dimo/cli';

/** Every command with its arguments, options and examples, as Markdown. */
export function commandsMarkdown() {
  const program = buildProgram({ exitCode: 0 });
  const commands = everyCommand(program).filter((command) => command.parent && command.commands.length === 0);
  return [
    '# Commands',
    '',
    cell(program.description()),
    'Every key of the configuration, which `--set` sets, is in [Configuration](./docs/configuration.md).',
    '',
    ...table(
      ['command', 'does'],
      commands.map((command) => [
        `[\`${nameOf(command)}\`](#${nameOf(command).replaceAll(' ', '-')})`,
        describe(command),
      ]),
    ),
    'Options that every command has, and the program itself:',
    '',
    ...optionTable(program, []),
    ...commands.flatMap((command) => section(command, program.createHelp().visibleOptions(program))),
  ].join('\n');
}

function section(command, common) {
  const { registeredArguments } = command;
  return [
    `## ${nameOf(command)}`,
    '',
    describe(command),
    '',
    '```text',
    `${nameOf(command)} ${command.usage()}`,
    '```',
    '',
    ...table(
      ['argument', 'meaning', 'default'],
      registeredArguments.map((argument) => [
        `\`${argument.name()}\``,
        withChoices(argument.description, argument.argChoices),
        standard(argument.defaultValue),
      ]),
    ),
    ...optionTable(command, common),
    ...examples(command),
  ];
}

const nameOf = (command) => (command.parent ? `${nameOf(command.parent)} ${command.name()}` : command.name());
const describe = (command) => cell(command.description());

/** Options of a command but those that all have; the default of one that sets a key is that of the key. */
function optionTable(command, common) {
  const options = command.createHelp().visibleOptions(command);
  const own = options.filter(({ long }) => !common.some((option) => option.long === long));
  return table(
    ['option', 'meaning', 'default', 'key'],
    own.map((option) => {
      const [, meaning, last] = /^(.*) \(([\w.]+)\)$/s.exec(option.description) ?? [];
      const key = isKey(last) ? last : undefined;
      return [
        `\`${option.flags}\``,
        withChoices(key === undefined ? option.description : meaning, option.argChoices),
        standard(key === undefined ? option.defaultValue : defaultOf(key)),
        key === undefined ? '' : `\`${key}\``,
      ];
    }),
  );
}

const allKeys = new Set(allKeyPaths().map((names) => names.join('.')));
const isKey = (text) => allKeys.has(text) || (/\./.test(text ?? '') && text.split('.')[0] in configSchema.shape);
const defaultOf = (key) => key.split('.').reduce((at, name) => at?.[name], configSchema.parse({}));

const withChoices = (text, choices) => (choices ? `${text}: ${choices.join(', ')}` : text);

function standard(value) {
  const isNothing = value === undefined || value === false || (Array.isArray(value) && value.length === 0);
  return isNothing ? '' : `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``;
}

/** The command lines below the help, as the help prints them where no line is too long for the terminal. */
function examples(command) {
  const columns = process.env.COLUMNS;
  process.env.COLUMNS = '1000';
  let help = '';
  command.configureOutput({ writeOut: (text) => (help += text) }).outputHelp();
  if (columns === undefined) delete process.env.COLUMNS;
  else process.env.COLUMNS = columns;
  const lines = [...help.matchAll(/^ {2}\$ (.+)$/gm)].map(([, line]) => line);
  return lines.length === 0 ? [] : ['```sh', ...lines, '```', ''];
}

/** Text that Markdown and Vue leave as it is. */
function cell(text) {
  return text
    .split(/(`[^`]*`)/)
    .map((part) => (part.startsWith('`') ? part : part.replace(/[<>{}*_[\]]/g, (c) => `&#${c.codePointAt(0)};`)))
    .join('')
    .replaceAll('|', '\\|');
}

function table(head, rows) {
  if (rows.length === 0) return [];
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const escaped = (text, i) => (i === 1 ? cell(text) : text.replaceAll('|', '\\|'));
  return [line(head), line(head.map(() => '---')), ...rows.map((row) => line(row.map(escaped))), ''];
}

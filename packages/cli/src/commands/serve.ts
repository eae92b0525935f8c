/** `dimo serve`: models over HTTP, and the page. */
import { escapeText, OptionError, resolveSampler } from '@dimo/core';
import { basename, dirname, resolve } from 'node:path';
import { refuseTyped, severalStepsKeys } from '../config/ineffective.js';
import { exitOk } from '../output/failure.js';
import type { TypedSettings } from '../flags/flags.js';
import { defaultModel, findModel } from '../models/models.js';
import { isLoopbackAddress } from '../serve/guard.js';
import { bundledPage, openPage } from '../serve/page.js';
import { serveModel, type ServedModel } from '../serve/served-model.js';
import { readPort } from '../serve/listen.js';
import { startServer } from '../serve/server.js';
import { stopSignal } from '../serve/stop-signal.js';
import { openEngine, openProject } from '../project/session.js';
import { print, printError } from '../output/terminal.js';

/** Arguments of `serve`. */
export interface ServeArguments {
  readonly typed: TypedSettings;
  /** Generators or teachers. @default `mnist` */
  readonly models: readonly string[];
  readonly host: string | undefined;
  readonly port: string | undefined;
  readonly allowedHosts: readonly string[];
  readonly token: string | undefined;
  /** Folder of static files. @default the page of this package */
  readonly page: string | undefined;
  readonly json: boolean;
  readonly quiet: boolean;
}

/** Serves until the process is told to stop. */
export async function serve(args: ServeArguments): Promise<number> {
  const host = args.host ?? '127.0.0.1';
  const token = args.token ?? process.env['DIMO_TOKEN'];
  checkExposure(host, token);
  const port = readPort(args.port);
  const folder = args.page ?? bundledPage();
  const page = folder === undefined ? undefined : await openPage(folder);
  const project = await openProject(args.typed, { kinds: ['engines', 'teachers'] });
  const { config, registry } = project;
  const wanted = args.models.length === 0 ? [defaultModel] : args.models;
  const found = [];
  for (const name of wanted) found.push(await findModel(name, registry));
  if (!found.some(({ kind }) => kind === 'teacher'))
    refuseTyped(project, severalStepsKeys, 'only one-step generators are served');
  const sampler = {
    ...config.sampler,
    ...(config.sample.steps === undefined ? {} : { numSteps: config.sample.steps }),
  };
  for (const model of found)
    if (model.kind === 'teacher') resolveSampler(sampler, model.teacher.sampler, registry.samplers);
  const { engine, explanation } = await openEngine(config.engine, registry);
  try {
    const models: ServedModel[] = [];
    for (const [i, name] of wanted.entries()) {
      models.push(
        await serveModel(engine, uniqueName(name, models), found[i]!, { sampler, samplers: registry.samplers }),
      );
    }
    const server = await startServer({
      models,
      host,
      port,
      allowedHosts: args.allowedHosts,
      token,
      page,
      log: args.quiet ? undefined : printError,
    });
    if (!args.quiet) printError(explanation);
    const names = models.map(({ name }) => name);
    const { address } = server;
    if (args.json) print(JSON.stringify({ address, models: names, ...(page ? { page: `${address}/` } : {}) }));
    else print(`serving ${names.join(', ')} on ${address}${page ? `, with the page: ${address}/` : ''}`);
    await stopSignal(() => printError('stopping after the running request; again to stop now'));
    await server.close();
    for (const model of models) await model.dispose();
    return exitOk;
  } finally {
    await engine.dispose();
  }
}

function checkExposure(host: string, token: string | undefined): void {
  if (token !== undefined && !/^[\x21-\x7e]{16,1000}$/.test(token))
    throw new OptionError('the token must have at least 16 printable ASCII characters without spaces', {
      hint: 'for example: DIMO_TOKEN=$(openssl rand -hex 16) dimo serve ...',
    });
  if (!isLoopbackAddress(host) && token === undefined)
    throw new OptionError(`--host ${escapeText(host, 100)} lets other machines connect, so a token is needed`, {
      hint: 'set DIMO_TOKEN (or --token), or leave --host away to serve this machine alone',
    });
}

/** The last part of a path that says something: `runs/cats/generator` is `cats`. */
function uniqueName(name: string, models: readonly ServedModel[]): string {
  const path = resolve(name);
  const last = basename(path);
  const short = /[/\\:]/.test(name) ? (last === 'generator' ? basename(dirname(path)) : last) : name;
  const taken = (candidate: string): boolean => models.some((model) => model.name === candidate);
  let unique = short;
  for (let i = 2; taken(unique); i++) unique = `${short}-${i}`;
  return unique;
}

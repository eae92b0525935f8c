/** Downloads `part/model.safetensors` of `maker/model` as the environment says; prints what it did as a line of JSON. */
import { hubSettings, openHubRepository, parseHubReference } from '@dimo/backend-node';
import { writeSync } from 'node:fs';

const settings = hubSettings(process.env, { backoffMilliseconds: 1 });
const repository = await openHubRepository(parseHubReference('hf:maker/model'), { settings });
const [file] = await repository.download(['part/model.safetensors']);
writeSync(1, `${JSON.stringify({ transferred: file?.transferredBytes, resumed: file?.resumedBytes })}\n`);

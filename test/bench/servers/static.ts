/** Pictures of a folder, served by Express. */
import express from 'express';
import { PORT, readSettings } from './arguments.js';
import type { FolderSettings } from './settings.js';

const { folder } = readSettings<FolderSettings>();

express().use(express.static(folder)).listen(PORT, '127.0.0.1');
